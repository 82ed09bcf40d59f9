//! Runs a program, whose exit status is the answer.

use crate::{Command, Failure, Target};

pub async fn ask(words: &[String], target: &Target) -> Result<(), Failure> {
    let address = target.address();
    let environment = [
        ("LBD_SERVICE", target.service.to_string()),
        ("LBD_SERVER", target.server.to_string()),
        ("LBD_ADDRESS", address.ip().to_string()),
        ("LBD_PORT", address.port().to_string()),
    ];
    let ended = Command::new(words, &environment).run().await;
    ended.map_err(Failure::Script)
}
