//! The binary that the tests start: the same as `wherry`.

fn main() -> std::process::ExitCode {
    wherry::main()
}
