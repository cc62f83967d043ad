//! Generates the tonic client of the Control service over the messages of `torch-remote-proto` (no protoc: protox is pure Rust).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "torchremote/agent/v1/control.proto";
    let descriptors = protox::compile([file], ["../proto"])?;
    tonic_prost_build::configure()
        // The server is for the agent that tests pretend to be.
        .build_server(true)
        // Without the convenience `connect`, whose name the rpc Connect has: callers bring a channel.
        .build_transport(false)
        .extern_path(".torchremote.agent.v1", "::torch_remote_proto::v1")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=../proto/{file}");
    Ok(())
}
