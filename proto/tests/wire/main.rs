//! The wire as others see it: golden bytes, laws of the codec, and both machines in one simulation.

mod chunk;
mod codec;
mod control;
mod golden;
mod samples;
mod simulation;
mod violations;
