//! What is typed: the types that several subcommands take.
