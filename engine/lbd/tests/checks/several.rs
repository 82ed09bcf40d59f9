//! More than one check for a server, and servers with checks of their own.

use lb_testkit::netns::available;

use crate::farm::{Farm, WEB};

#[test]
fn a_server_must_pass_all_of_its_checks() {
    if !available() {
        return;
    }
    // The last server has a check of its own, which nobody passes.
    let tables = "[[service.server.check]]\ntype = \"icmp\"\ninterval = \"100ms\"\n\
                  [[service.server.check]]\ntype = \"http\"\ninterval = \"100ms\"\nfall = 1\nstatus = \"418\"\n\
                  [[service.check]]\ntype = \"tcp\"\ninterval = \"100ms\"\nfall = 1\n\
                  [[service.check]]\ntype = \"icmp\"\ninterval = \"100ms\"\n";
    let mut farm = Farm::with(tables);
    let down = farm.wait_for(2, "down");
    assert_eq!(down["failure"], "http: status 200, wanted 418");
    assert_eq!(farm.service()["type"], "tcp+icmp+own");

    farm.webs[0] = None;
    let down = farm.wait_for(0, "down");
    assert_eq!(down["failure"], "tcp: connection refused");
    // It answers echo requests all the while; that does not bring it back.
    let passed = down["passed"].as_u64().expect("a number");
    farm.wait_until(|farm| farm.check(0)["passed"].as_u64() > Some(passed + 3));
    assert_eq!(farm.check(0)["state"], "down");
    farm.start_web(0);
    farm.wait_for(0, "up");
    assert_eq!(farm.check(1)["changes"], 0);
    let saved = farm.lbctl("save");
    assert_eq!(
        saved.matches("[[service.server.check]]").count(),
        2,
        "{saved}"
    );
    assert_eq!(saved.matches("[[service.check]]").count(), 2, "{saved}");
    assert!(farm.lbctl("plan FILE").contains("nothing changes"));
    // Other balancers take over when nobody is left here.
    assert!(farm.is_healthy());
    (farm.webs[0], farm.webs[1]) = (None, None);
    farm.wait_for(0, "down");
    farm.wait_for(1, "down");
    assert!(!farm.is_healthy());
    let status = farm.lbctl("status");
    assert!(
        status.contains("checks      3 servers, 3 down, 0 suspect\n"),
        "{status}"
    );
    let rip = format!("{}:{}", farm.rip(2), WEB + 8000);
    let log = farm.finish();
    assert!(
        log.contains(&format!(
            "server {rip} is down: http: status 200, wanted 418"
        )),
        "{log}"
    );
}
