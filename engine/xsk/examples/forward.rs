//! The smallest engine: what comes in for a service on one interface goes out on the other, as it is.
//!
//! `forward IN OUT ADDRESS:PORT` forwards UDP until it is interrupted or killed. It does nothing that a balancer could
//! leave out, so its packet rate is the most that a balancer on the same interfaces can reach.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lb_model::{Batch, InterfaceId, Port, Protocol, ServiceKey};
use lb_xsk::{Rules, Xsk, XskConfig};

/// How many turns without a packet before the worker sleeps: sleeping and waking cost more than a few looks.
const IDLE_TURNS: u32 = 64;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, service] = arguments.as_slice() else {
        return Err("usage: forward IN OUT ADDRESS:PORT".into());
    };
    let Xsk {
        ports,
        mut control,
        queues,
        ..
    } = Xsk::open(&XskConfig {
        interfaces: vec![input.clone(), output.clone()],
        workers: Some(1),
        ..XskConfig::default()
    })?;
    for queue in queues {
        eprintln!("{queue}");
    }
    let service = ServiceKey {
        vip: service.parse()?,
        protocol: Protocol::Udp,
    };
    control.set_rules(&Rules {
        services: BTreeMap::from([(service, 0)]),
        ..Rules::default()
    })?;
    stop_on_interrupt()?;
    eprintln!("forwarding");

    let mut port = ports.into_iter().next().ok_or("no port")?;
    let mut batch = Batch::new();
    let (mut received, mut full, mut idle) = (0_u64, 0_u64, 0);
    while !STOP.load(Ordering::Relaxed) {
        port.receive(&mut batch);
        idle = if batch.is_empty() { idle + 1 } else { 0 };
        received += batch.len() as u64;
        for packet in batch.drain() {
            let egress = InterfaceId(1 - packet.ingress.0);
            if let Err(frame) = port.transmit(egress, packet.frame) {
                full += 1;
                port.release(frame);
            }
        }
        port.flush();
        if idle > IDLE_TURNS {
            port.wait(Duration::from_millis(100));
        }
    }
    drop(control);
    let census = port.close();
    eprintln!("received {received}, no room to send {full}, {census:?}");
    match census.is_conserved() && census.held == 0 {
        true => Ok(()),
        false => Err("frames are missing".into()),
    }
}

fn stop_on_interrupt() -> Result<(), Box<dyn Error>> {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn stop(_: i32) {
        STOP.store(true, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(stop), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler does nothing but store an atomic.
        #[allow(unsafe_code)]
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}
