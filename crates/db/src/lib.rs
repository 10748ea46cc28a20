//! One pool over PostgreSQL or SQLite, whose queries are written once and traced.
