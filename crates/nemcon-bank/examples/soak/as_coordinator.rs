//! The same with the allocator of the coordinator's program, for that side.

#[path = "main.rs"]
mod soak;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    soak::main()
}
