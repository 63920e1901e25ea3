//! Compiles `proto/` without `protoc`: `protox` parses, `tonic-prost-build`
//! generates.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = [
        "nemcon/v1/types.proto",
        "nemcon/v1/transaction.proto",
        "nemcon/v1/participant.proto",
        "nemcon/v1/outcome.proto",
        "nemcon/v1/admin.proto",
        "nemcon/v1/maintenance.proto",
        "nemcon/v1/saga.proto",
        "nemcon/bank/v1/bank.proto",
        "nemcon/inventory/v1/inventory.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
