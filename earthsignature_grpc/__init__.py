"""The gRPC service of EarthSignature: serves published products to every client ever written, and calls them."""
