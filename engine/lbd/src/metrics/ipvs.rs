//! The names that Prometheus' node_exporter gives to the kernel's IPVS.

use std::fmt;
use std::sync::Arc;

use lb::{Dest, Engine, ServiceId, ServiceTable, VirtualService};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::table::{Labels, counter, gauge};

/// The numbers of an engine.
pub struct IpvsMetrics(pub Arc<Engine>);

impl fmt::Debug for IpvsMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IpvsMetrics")
    }
}

/// One server of a service: its labels, active conns, inactive conns, weight.
type Row = (Labels, [u64; 3]);

impl Collector for IpvsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        let (traffic, rows) = self.0.look(|table| (table.traffic(), rows(table)));
        for (name, help, value) in [
            (
                "node_ipvs_connections",
                "The total number of connections made",
                traffic.conns,
            ),
            (
                "node_ipvs_incoming_packets",
                "The total number of incoming packets",
                traffic.in_packets,
            ),
            (
                "node_ipvs_outgoing_packets",
                "The total number of outgoing packets",
                traffic.out_packets,
            ),
            (
                "node_ipvs_incoming_bytes",
                "The total amount of incoming data",
                traffic.in_bytes,
            ),
            (
                "node_ipvs_outgoing_bytes",
                "The total amount of outgoing data",
                traffic.out_bytes,
            ),
        ] {
            counter(encoder, (name, help), [(Labels::new(), value)])?;
        }
        for (column, name, help) in [
            (
                0,
                "node_ipvs_backend_connections_active",
                "The current active connections by local and remote address",
            ),
            (
                1,
                "node_ipvs_backend_connections_inactive",
                "The current inactive connections by local and remote address",
            ),
            (
                2,
                "node_ipvs_backend_weight",
                "The current backend weight by local and remote address",
            ),
        ] {
            let series = rows
                .iter()
                .map(|(labels, values)| (labels.clone(), values[column]));
            gauge(encoder, (name, help), series)?;
        }
        Ok(())
    }
}

fn rows(table: &ServiceTable) -> Vec<Row> {
    let services = table.services().iter();
    services
        .flat_map(|service| service.dests().iter().map(move |dest| row(service, dest)))
        .collect()
}

fn row(service: &VirtualService, dest: &Dest) -> Row {
    let (local_address, local_port, local_mark, proto) = match service.id() {
        ServiceId::Address(key) => (
            key.vip.addr.to_string(),
            key.vip.port.to_string(),
            String::new(),
            key.protocol.to_string().to_uppercase(),
        ),
        // As in /proc/net/ip_vs.
        ServiceId::Mark(mark) => (
            String::new(),
            "0".to_owned(),
            format!("{:08X}", mark.mark),
            "FWM".to_owned(),
        ),
    };
    let labels = vec![
        ("local_address", local_address),
        ("local_port", local_port),
        ("remote_address", dest.rip().addr.to_string()),
        ("remote_port", dest.rip().port.to_string()),
        ("proto", proto),
        ("local_mark", local_mark),
    ];
    let values = [dest.active(), dest.inactive(), dest.weight()].map(u64::from);
    (labels, values)
}
