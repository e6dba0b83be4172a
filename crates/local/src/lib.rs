//! The embedded default: a queue in a SQLite file and an object store in a directory
