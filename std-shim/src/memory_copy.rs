//! `memcpy` and its kin for the program: vectors where they pay, which the kernel's own must not use.
