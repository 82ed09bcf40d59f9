//! What Linux IPVS did, recorded event by event, replayed through the whole engine: `tests/golden/README.md` says what
//! there is. Every event must agree; a difference shows what was recorded and what happened here, up to where they part.

mod corpus;
mod history;
mod lab;
mod packets;
mod schedulers;
mod segments;
mod states;
mod walks;
