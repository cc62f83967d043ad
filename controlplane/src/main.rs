//! The `torch-remote` binary: subcommands to their modules.

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider installed in this process");
}
