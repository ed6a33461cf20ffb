-- The two databases of a deployment: Dagster's own, and the catalogue of the products.
CREATE DATABASE dagster;
CREATE DATABASE catalogue;
\connect catalogue
CREATE EXTENSION postgis;
CREATE EXTENSION btree_gist;
