"""The product store on a folder or S3: publication, verification, and rebuild."""
