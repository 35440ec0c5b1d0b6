//! Invented machines and wires, for the tests of the causes.
