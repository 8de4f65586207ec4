//! Tests against the real program.
