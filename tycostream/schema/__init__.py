"""Schema files as a whole: written from a database, printed as GraphQL, compared."""
