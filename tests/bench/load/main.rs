//! Load on a control plane, for `bench_api.py`: what a fleet of clients asks of it, and how long each answer takes. Prints one line of JSON.
//!
//! Speaks HTTP/1.1 over TLS itself, so that the clients cost as little as can be: they share the machine with what is measured.

mod calls;
mod client;
mod fill;
mod times;
mod watch;

use std::time::Duration;

use client::Api;

const USAGE: &str = "usage: load KUBECONFIG fill COUNT | calls SECONDS | watch COUNT SECONDS WRITES_PER_SECOND all|own";

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u32>().unwrap_or_else(|_| panic!("{word:?} is no number; {USAGE}"));
    let seconds = |word: &str| Duration::from_secs(number(word).into());
    let [kubeconfig, rest @ ..] = &words[..] else { panic!("{USAGE}") };
    let api = Api::open(kubeconfig.as_ref());
    let measured = match rest {
        ["fill", count] => fill::run(&api, number(count)).await,
        ["calls", time] => calls::run(&api, seconds(time)).await,
        ["watch", count, time, rate, which @ ("all" | "own")] => {
            let own = *which == "own";
            watch::run(&api, watch::Plan { watchers: number(count), time: seconds(time), rate: number(rate), own })
                .await
        }
        _ => panic!("{USAGE}"),
    };
    println!("{measured}");
}
