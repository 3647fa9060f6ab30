//! Counts guest instructions.
