//! The system, whole: what holds between the packages. The tests are in `tests/tests` (Rust) and `tests/e2e`, `tests/faults` (Python, run by `make test`).
