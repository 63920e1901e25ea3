//! For whoever writes a participant in Rust: implement Resource and Decode, call serve
