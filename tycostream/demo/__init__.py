"""The demonstration: a market that is made up, in an embedded database, and a page that shows it live."""
