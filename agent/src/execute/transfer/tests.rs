use super::*;
use std::sync::Arc;

fn chunk(transfer: u64, offset: u64, total: u64, data: &'static [u8]) -> Chunk {
    Chunk { transfer, offset, data: Bytes::from_static(data), total }
}

#[tokio::test]
async fn an_upload_is_taken_whole_whatever_is_cut_and_sent_again() {
    let transfers = Arc::new(Transfers::new(1 << 20));
    transfers.begin(1);
    assert_eq!(transfers.chunk(1, &chunk(7, 0, 6, b"abc")).await, Ok(3));
    assert_eq!(transfers.chunk(1, &chunk(7, 1, 6, b"bcd")).await, Ok(4));
    assert_eq!(transfers.chunk(1, &chunk(7, 5, 6, b"f")).await, Err(Refusal::Gap { offset: 5, received: 4 }));
    assert_eq!(transfers.chunk(1, &chunk(7, 0, 6, b"")).await, Ok(4));
    let executor = std::thread::spawn({
        let transfers = Arc::clone(&transfers);
        move || transfers.upload(1, 7, 6)
    });
    assert_eq!(transfers.chunk(1, &chunk(7, 4, 6, b"ef")).await, Ok(6));
    assert_eq!(executor.join().expect("the executor's thread ends"), Ok(b"abcdef".to_vec()));
    assert_eq!(transfers.chunk(1, &chunk(7, 0, 6, b"abc")).await, Ok(6), "a repeat of what was used is acknowledged");
    assert_eq!(transfers.chunk(1, &chunk(8, 4, 6, b"efg")).await, Err(Refusal::Announced(8)));
}

#[tokio::test]
async fn uploads_beyond_the_bound_wait_until_the_stream_wants_them() {
    let transfers = Arc::new(Transfers::new(4));
    transfers.begin(1);
    assert_eq!(transfers.chunk(1, &chunk(1, 0, 4, b"aaaa")).await, Ok(4));
    let second = tokio::spawn({
        let transfers = Arc::clone(&transfers);
        async move { transfers.chunk(1, &chunk(2, 0, 8, b"bbbbbbbb")).await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished(), "eight bytes do not fit into four");
    let executor = std::thread::spawn({
        let transfers = Arc::clone(&transfers);
        move || (transfers.upload(1, 2, 8), transfers.upload(1, 1, 4))
    });
    assert_eq!(second.await.expect("no panic"), Ok(8));
    assert_eq!(executor.join().expect("the executor's thread ends"), (Ok(b"bbbbbbbb".to_vec()), Ok(b"aaaa".to_vec())));
}

#[test]
fn a_new_incarnation_frees_an_executor_that_waits() {
    let transfers = Arc::new(Transfers::new(4));
    transfers.begin(1);
    transfers.offer(1, 3, Bytes::from_static(b"xyz"));
    assert_eq!(transfers.bytes(1, 3), Some(Bytes::from_static(b"xyz")));
    let executor = std::thread::spawn({
        let transfers = Arc::clone(&transfers);
        move || transfers.download(1, 3)
    });
    transfers.done(2);
    transfers.begin(2);
    assert_eq!(executor.join().expect("the executor's thread ends"), Err(Superseded));
    assert_eq!(transfers.bytes(2, 3), None);
}

#[tokio::test]
async fn an_upload_of_another_length_than_its_command_is_refused_and_a_useless_one_is_acknowledged() {
    let transfers = Transfers::new(16);
    transfers.begin(1);
    assert_eq!(transfers.chunk(1, &chunk(1, 0, 4, b"ab")).await, Ok(2));
    assert_eq!(transfers.upload(1, 1, 8), Err(Unusable::Announced));
    transfers.discard(1, 3, 8);
    assert_eq!(transfers.chunk(1, &chunk(3, 0, 8, b"abcd")).await, Ok(8));
    transfers.discard(1, 1, 4);
    assert_eq!(transfers.chunk(1, &chunk(4, 0, 16, b"abcd")).await, Ok(4), "what was dropped takes no room");
}

#[tokio::test]
async fn bytes_of_the_process_before_enter_no_transfer_of_the_next_one() {
    let transfers = Arc::new(Transfers::new(4));
    transfers.begin(1);
    assert_eq!(transfers.chunk(1, &chunk(1, 0, 4, b"aaaa")).await, Ok(4));
    let parked = tokio::spawn({
        let transfers = Arc::clone(&transfers);
        async move { transfers.chunk(1, &chunk(2, 0, 4, b"old.")).await }
    });
    tokio::task::yield_now().await;
    assert!(!parked.is_finished(), "it waits for room");
    transfers.begin(2);
    assert_eq!(parked.await.expect("no panic"), Err(Refusal::Superseded));
    // Nor do the executor's last words to the process before.
    transfers.discard(1, 2, 4);
    transfers.offer(1, 5, Bytes::from_static(b"old."));
    assert_eq!(transfers.upload(1, 2, 4), Err(Unusable::Superseded));
    assert_eq!((transfers.bytes(1, 5), transfers.bytes(2, 5)), (None, None));
    assert_eq!(transfers.chunk(2, &chunk(2, 0, 4, b"new.")).await, Ok(4));
    assert_eq!(transfers.upload(2, 2, 4), Ok(b"new.".to_vec()));
}

#[tokio::test]
async fn an_upload_that_the_host_has_no_memory_for_fails_alone() {
    let transfers = Arc::new(Transfers::new(4));
    transfers.begin(1);
    let executor = std::thread::spawn({
        let transfers = Arc::clone(&transfers);
        move || (transfers.upload(1, 1, 1 << 62), transfers.upload(1, 2, 4))
    });
    assert_eq!(transfers.chunk(1, &chunk(1, 0, 1 << 62, b"abcd")).await, Ok(1 << 62), "acknowledged and dropped");
    assert_eq!(transfers.chunk(1, &chunk(2, 0, 4, b"abcd")).await, Ok(4));
    assert_eq!(executor.join().expect("no panic"), (Err(Unusable::NoMemory), Ok(b"abcd".to_vec())));
}
