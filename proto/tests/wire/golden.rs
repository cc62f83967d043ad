//! The bytes of every command and frame. `BLESS=1` writes them anew; review reads the difference.

use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use torch_remote_proto::{codec, v1};

use crate::{control, samples};

#[test]
fn the_bytes_of_every_command_are_those_of_the_golden_file() {
    let mut text = String::new();
    for (name, command) in samples::commands() {
        let mut bytes = Vec::new();
        codec::encode(&mut bytes, &command);
        text += &format!("{name} {}\n", hex::encode(bytes));
    }
    compare("commands.txt", &text);
}

#[test]
fn the_bytes_of_every_frame_are_those_of_the_golden_file() {
    let mut text = String::new();
    for (name, frame) in samples::client_frames() {
        text += &format!("client {name} {}\n", hex::encode(v1::ClientFrame { frame: Some(frame) }.encode_to_vec()));
    }
    for (name, frame) in samples::server_frames() {
        text += &format!("server {name} {}\n", hex::encode(v1::ServerFrame { frame: Some(frame) }.encode_to_vec()));
    }
    compare("frames.txt", &text);
}

#[test]
fn the_bytes_of_every_message_of_the_control_path_are_those_of_the_golden_file() {
    let mut text = String::new();
    for (name, command) in control::commands() {
        let bytes = v1::ControlCommand { command: Some(command) }.encode_to_vec();
        text += &format!("command {name} {}\n", hex::encode(bytes));
    }
    for (name, event) in control::events() {
        text += &format!("event {name} {}\n", hex::encode(v1::AgentEvent { event: Some(event) }.encode_to_vec()));
    }
    compare("control.txt", &text);
}

#[test]
fn an_event_of_a_newer_release_is_one_without_content() {
    let newer = [0xfa, 0x01, 0x02, 0x08, 0x05];
    assert_eq!(v1::AgentEvent::decode(&newer[..]), Ok(v1::AgentEvent { event: None }), "field 31 is skipped");
}

#[test]
fn the_bytes_of_every_message_about_bulk_bytes_are_those_of_the_golden_file() {
    let chunk = v1::Chunk { transfer: 9, offset: 1 << 20, data: Bytes::from_static(&[1, 2, 3]), total: 1 << 33 };
    let acknowledged = v1::TransferAck { transfer: 9, received: 1 << 20 };
    let asked = v1::DownloadRequest { transfer: 3, offset: 300 };
    let mut text = format!("chunk {}\n", hex::encode(chunk.encode_to_vec()));
    text += &format!("transfer_ack {}\n", hex::encode(acknowledged.encode_to_vec()));
    text += &format!("download_request {}\n", hex::encode(asked.encode_to_vec()));
    compare("bulk.txt", &text);
}

fn compare(file: &str, text: &str) {
    let path =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs this")).join("tests/golden").join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).expect("the golden folder is writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "{file} differs: if this is meant, run with BLESS=1 and raise the protocol number");
}
