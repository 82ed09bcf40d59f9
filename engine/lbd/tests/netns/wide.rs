//! Services for more than one port: by mark, and for every port of an address.

use lb_testkit::netns::{Family, HttpTally, Topology, available};

use crate::rig::{Mode, Rig, WEB, service_in};

const REQUESTS: u64 = 300;

#[test]
fn services_by_mark_and_for_every_port_get_their_traffic_in_ipv4() {
    wide_services(Family::V4);
}

#[test]
fn services_by_mark_and_for_every_port_get_their_traffic_in_ipv6() {
    wide_services(Family::V6);
}

fn wide_services(family: Family) {
    if !available() {
        return;
    }
    let (vip, digit, bits) = match family {
        Family::V4 => (format!("{}", family.vip()), 4, 32),
        Family::V6 => (format!("[{}]", family.vip()), 6, 128),
    };
    let bare = family.vip();
    // Another mode, because two conns of one client's port to one server cannot be told apart in NAT.
    let lip = family.local_address(Topology::TwoArmed);
    // The web servers' own port is 8080, whichever port of the mark a client asks for.
    let mut more = format!(
        "\n[[mark]]\nmark = 7\ndestination = \"{bare}/{bits}\"\nprotocol = \"tcp\"\nports = \"8181-8189\"\n\
         [[service]]\nmark = 7\nfamily = {digit}\nscheduler = \"rr\"\nmode = \"nat\"\n"
    );
    let server = |index| family.server(index);
    for index in 0..3 {
        let rip = std::net::SocketAddr::from((server(index), WEB + 8000));
        more.push_str(&format!("[[service.server]]\nrip = \"{rip}\"\n"));
    }
    more.push_str(&format!(
        "[[service]]\nvip = \"{vip}:0\"\nprotocol = \"tcp\"\nscheduler = \"rr\"\nmode = \"fnat\"\n\
         local_addresses = [\"{lip}\"]\nlocal_interface = \"eth1\"\npersistence = {{ timeout = \"60s\" }}\n"
    ));
    for index in 0..3 {
        more.push_str(&format!(
            "[[service.server]]\nrip = \"{}\"\n",
            server(index)
        ));
    }
    let rig = Rig::start_with(Topology::TwoArmed, Mode::Nat, &more);
    let collect = |port| {
        let tally = HttpTally::collect(&rig.lab.client, service_in(family, port), REQUESTS);
        tally.expect("curl")
    };
    let [marked, every_port] = [8189, WEB + 8000].map(collect);
    let log = rig.finish();
    assert_eq!(marked.failures, 0, "{marked:?}\n{log}");
    assert_eq!(marked.answers.len(), 3, "in turn: {marked:?}\n{log}");
    assert_eq!(every_port.failures, 0, "{every_port:?}\n{log}");
    let answering = every_port.answers.len();
    assert_eq!(answering, 1, "a client stays: {every_port:?}\n{log}");
}
