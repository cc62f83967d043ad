mod attempts;
mod ends;
mod laws;
mod standing;
mod world;
