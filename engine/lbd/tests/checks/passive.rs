//! Servers that nobody asks, judged by their clients' packets.

use lb_testkit::netns::available;

use crate::farm::{Farm, LineClient, WEB};

const TABLES: &str =
    "[service.passive]\nwindow = \"1s\"\nleast_conns = 4\nunanswered = 90\nkeeps = 20";

#[test]
fn a_server_that_answers_no_syn_loses_weight_and_gets_it_back() {
    if !available() {
        return;
    }
    let farm = Farm::with(TABLES);
    let mut sessions: Vec<LineClient> = (0..6).map(|_| farm.session()).collect();
    let mut knocking_until = |state: &str| {
        let mut check = farm.check(0);
        farm.wait_until(|farm| {
            farm.knock(24);
            sessions.iter_mut().for_each(LineClient::exchange);
            check = farm.check(0);
            check["state"] == state
        });
        check
    };
    knocking_until("up");
    farm.nft(
        0,
        "add table ip lab; add chain ip lab in { type filter hook input priority 0; }; \
         add rule ip lab in tcp dport 8080 tcp flags & (syn | ack) == syn drop",
    );
    let suspect = knocking_until("suspect");
    // A window in which nobody asks it may have ended since.
    let weights = (&suspect["weight"], &suspect["given_weight"]);
    assert_eq!(weights.1, 10, "{suspect}");
    assert!(
        [2, 4, 8].iter().any(|weight| weights.0 == weight),
        "{suspect}"
    );
    let why = suspect["passive"]["suspicion"].as_str().expect("a reason");
    assert!(
        why.ends_with(" connections of the last 1s got no SYN-ACK"),
        "{why}"
    );
    assert!(suspect["passive"]["unanswered"].as_u64() >= Some(4));
    assert_eq!(farm.check(1)["weight"], 10);
    assert_eq!(farm.check(2)["weight"], 10);
    assert!(farm.lbctl("checks").contains(why));

    farm.nft(0, "delete table ip lab");
    let up = knocking_until("up");
    assert_eq!(up["weight"], 10);
    assert_eq!(farm.answers(60).len(), 3);
    let rip = format!("{}:{}", farm.rip(0), WEB + 8000);
    let log = farm.finish();
    assert!(log.contains(&format!("server {rip} is suspect: ")), "{log}");
    assert!(log.contains("got no SYN-ACK; weight 10 -> 2"), "{log}");
    assert!(
        log.contains(&format!("server {rip} is suspect no more: ")),
        "{log}"
    );
}
