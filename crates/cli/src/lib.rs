//! The command line: arguments to validated configuration to wiring to exit code
