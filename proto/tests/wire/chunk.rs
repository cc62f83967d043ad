//! Chunks framed by hand against those framed by prost.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use torch_remote_proto::chunk::{ChunkReader, head};
use torch_remote_proto::v1::Chunk;

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0u8][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_framed_by_hand_is_a_chunk_to_prost(transfer in any::<u64>(), offset in any::<u64>(), total in any::<u64>(), data in vec(any::<u8>(), 0..300)) {
        let bytes = [head(transfer, offset, total, data.len()), data.clone()].concat();
        prop_assert_eq!(u32::from_be_bytes(bytes[1..5].try_into().expect("four bytes")) as usize, bytes.len() - 5);
        let chunk = Chunk::decode(&bytes[5..]).expect("a chunk");
        prop_assert_eq!(chunk, Chunk { transfer, offset, total, data: Bytes::from(data) });
    }

    #[test]
    fn what_prost_frames_is_read_from_pieces_of_any_length(
        chunks in vec((any::<u64>(), 0..1_000_000u64, any::<u64>(), vec(any::<u8>(), 0..40)), 1..6), cuts in vec(1..30usize, 1..40),
    ) {
        let mut body = Vec::new();
        let mut expected = Vec::new();
        for (transfer, offset, total, data) in &chunks {
            let chunk = Chunk { transfer: *transfer, offset: *offset, total: *total, data: Bytes::from(data.clone()) };
            body.extend(framed(&chunk.encode_to_vec()));
            expected.extend((*offset..).zip(data.iter().copied()));
        }
        let mut reader = ChunkReader::new();
        let mut read = Vec::new();
        let (mut rest, mut cuts) = (&body[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().expect("it cycles")).min(rest.len()));
            reader.feed(piece, |offset, data| read.extend((offset..).zip(data.iter().copied()))).expect("framed by prost");
            rest = after;
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(body in vec(any::<u8>(), 0..300)) {
        let mut read = 0;
        // Whether it is readable does not matter here.
        drop(ChunkReader::new().feed(&body, |_, data| read += data.len()));
        prop_assert!(read <= body.len());
    }
}

#[test]
fn a_length_past_the_end_of_the_message_or_of_all_numbers_is_unreadable() {
    for length in [2, u64::MAX, u64::MAX - 5, u64::MAX - 11] {
        let mut message = vec![0x1a];
        prost::encoding::encode_varint(length, &mut message);
        let body = framed(&message);
        let read = ChunkReader::new().feed(&body, |_, _| panic!("no data is announced that can be there"));
        assert!(read.is_err(), "a length of {length}");
    }
}
