//! Attaching what a plan says, and looking after it.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use lb_bpf::agent::{
    Attached, Enat, Flows, Hook, Pins, Programs, Toa, ToaSettings, Tunnel, TunnelSettings,
};
use lb_netlink::Link;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::place::Place;
use crate::presence::Presence;
use crate::{detach, logging, rights};
use lbrs::config;
use lbrs::plan::{EnatPlan, Plan, Role, TunPlan};

/// How often the interfaces are looked at: a new one is served at most so much later.
const LOOK_AROUND: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Every how many looks the flows are swept.
const SWEEP_EVERY: u32 = 30;

/// Where the plan comes from.
pub enum Source {
    /// The command line.
    Given(Box<Plan>),
    /// A file, which may be read again.
    File(PathBuf),
}

impl Source {
    fn plan(&self) -> anyhow::Result<Plan> {
        match self {
            Source::Given(plan) => Ok(Plan::clone(plan)),
            Source::File(path) => Ok(config::load(path)?),
        }
    }
}

/// Attaches, and stays to look after it unless it shall be done `once`.
pub fn attach(directory: Option<&Path>, source: Source, once: bool) -> anyhow::Result<()> {
    logging::start();
    // Before anything is attached: a signal that comes meanwhile is heeded once all is in order.
    let signals = Signals::new().context("cannot listen for signals")?;
    let plan = source.plan()?;
    rights::require(&plan.roles())?;
    // A file that may be read again is opened now: its name may mean nothing where we go.
    let place = Place::find(directory)?;
    place.make()?;
    let mut agent = Agent::new(&place);
    agent.apply(&plan, matches!(source, Source::File(_)))?;
    if once {
        return Ok(());
    }
    tracing::info!("ready");
    loop {
        match signals.wait().context("cannot wait for signals")? {
            Some(Signal::SIGHUP) => {
                let read_again = source.plan().and_then(|plan| {
                    rights::require(&plan.roles())?;
                    agent.apply(&plan, matches!(source, Source::File(_)))
                });
                match read_again {
                    Ok(()) => tracing::info!("ready again"),
                    Err(error) => tracing::error!("everything stays as it is: {error:#}"),
                }
            }
            Some(signal) => {
                tracing::info!("{signal}: ending; what is attached stays, `lbrs detach` undoes it");
                return Ok(());
            }
            None => {
                agent.look_around();
                agent.sweep();
            }
        }
    }
}

/// What is attached, as far as this process knows.
struct Agent<'p> {
    place: &'p Place,
    claims: Vec<(Role, File)>,
    served: Vec<Served>,
    /// Looks around since the flows were swept.
    since_sweep: u32,
}

/// A role with programs on interfaces.
struct Served {
    role: Role,
    programs: Programs,
    flows: Option<Flows>,
    interfaces: Vec<String>,
    attached: BTreeSet<u32>,
    /// The last complaint about an interface, which is not repeated every second.
    complaint: Option<String>,
}

impl<'p> Agent<'p> {
    fn new(place: &'p Place) -> Agent<'p> {
        Agent {
            place,
            claims: Vec::new(),
            served: Vec::new(),
            since_sweep: 0,
        }
    }

    /// Attaches what the plan says; `whole` if roles that are not in it shall go.
    fn apply(&mut self, plan: &Plan, whole: bool) -> anyhow::Result<()> {
        let roles = plan.roles();
        for role in &roles {
            if !self.claims.iter().any(|(claimed, _)| claimed == role) {
                self.claims.push((*role, self.place.claim(*role)?));
            }
        }
        let _held = self.place.lock()?;
        if whole {
            let gone = |role: &Role| !roles.contains(role);
            for role in Role::ALL.into_iter().filter(gone) {
                if detach::detach_role(self.place, role)? {
                    tracing::info!("{role}: detached, the configuration no longer has it");
                }
                self.claims.retain(|(claimed, _)| *claimed != role);
            }
        }
        let links = lb_netlink::links()?;
        let mut served = Vec::new();
        if let Some(enat) = &plan.enat {
            require_interfaces(&enat.interfaces, &links)?;
            served.push(load_enat(&self.place.pins(Role::Enat), enat)?);
        }
        if let Some(tun) = &plan.tun {
            require_interfaces(&tun.interfaces, &links)?;
            served.push(load_tunnel(&self.place.pins(Role::Tun), tun)?);
        }
        let mut presence = Presence::open(self.place)?;
        for role in roles {
            presence.hold(role, plan.vips(role))?;
            if let [_, ..] = plan.vips(role) {
                let vips: Vec<String> = plan.vips(role).iter().map(ToString::to_string).collect();
                tracing::info!("{role}: holds {}", vips.join(", "));
            }
        }
        for served in &mut served {
            served.attach(&links)?;
        }
        if let Some(toa) = &plan.toa {
            attach_toa(self.place, toa)?;
        }
        self.served = served;
        Ok(())
    }

    /// Forgets flows that are over.
    fn sweep(&mut self) {
        self.since_sweep += 1;
        if self.since_sweep < SWEEP_EVERY {
            return;
        }
        self.since_sweep = 0;
        let time = clock_gettime(ClockId::Monotonic);
        let now = Duration::try_from(time).unwrap_or_default();
        for served in &self.served {
            if let Some(flows) = &served.flows
                && let Err(error) = flows.sweep(now)
            {
                tracing::warn!("{}: {error}", served.role);
            }
        }
    }

    /// Serves interfaces that have come, and forgets those that have gone.
    fn look_around(&mut self) {
        let done = lb_netlink::links()
            .map_err(anyhow::Error::from)
            .and_then(|links| {
                let _held = self.place.lock()?;
                for served in &mut self.served {
                    // Detached by somebody meanwhile: that was meant.
                    if !served.programs.pins().exist() {
                        continue;
                    }
                    let complaint = served
                        .attach(&links)
                        .err()
                        .map(|error| format!("{error:#}"));
                    if let Some(complaint) = &complaint
                        && served.complaint.as_ref() != Some(complaint)
                    {
                        tracing::warn!("{}: {complaint}", served.role);
                    }
                    served.complaint = complaint;
                }
                Ok(())
            });
        if let Err(error) = done {
            tracing::warn!("{error:#}");
        }
    }
}

impl Served {
    /// Attaches to every interface that it shall be on and is not, and leaves the others.
    fn attach(&mut self, links: &[Link]) -> anyhow::Result<()> {
        let chosen = |link: &&Link| match self.interfaces.is_empty() {
            // What a bridge's or bond's port receives comes in on the bridge or bond again.
            true => link.is_ethernet && link.master.is_none(),
            false => self.interfaces.contains(&link.name),
        };
        let wanted: Vec<&Link> = links.iter().filter(chosen).collect();
        for hook in self.programs.pins().hooks()? {
            let wanted_here = |index| wanted.iter().any(|link| link.index == index);
            if hook.interface().is_some_and(|index| !wanted_here(index)) {
                self.programs.pins().release(hook)?;
            }
        }
        self.attached
            .retain(|index| wanted.iter().any(|link| link.index == *index));
        let mut failed = None;
        for link in wanted {
            if self.attached.contains(&link.index) {
                continue;
            }
            // One that does not take it, or is gone by now, keeps nothing from the others.
            match self.programs.attach_to_interface(link.index) {
                Err(error) => failed = Some((&link.name, error)),
                Ok(how) => {
                    self.attached.insert(link.index);
                    tracing::info!("{}: {} {}", self.role, described(how), link.name);
                }
            }
        }
        match failed {
            Some((name, error)) => Err(error).with_context(|| name.clone()),
            None => Ok(()),
        }
    }
}

fn described(how: Attached) -> &'static str {
    match how {
        Attached::Anew => "attached to",
        Attached::InPlace => "took over",
    }
}

fn load_enat(pins: &Pins, plan: &EnatPlan) -> anyhow::Result<Served> {
    let programs = Enat::load(pins, &plan.settings)?;
    let flows = Flows::open(pins)?;
    let (wanted, got) = (plan.settings.capacity, flows.usage()?.capacity);
    if wanted != got {
        tracing::warn!(
            "enat: room for {got} flows and not {wanted}, for those that are there stay; `lbrs detach` forgets them"
        );
    }
    Ok(Served {
        role: Role::Enat,
        programs,
        flows: Some(flows),
        interfaces: plan.interfaces.clone(),
        attached: BTreeSet::new(),
        complaint: None,
    })
}

fn load_tunnel(pins: &Pins, plan: &TunPlan) -> anyhow::Result<Served> {
    let settings = TunnelSettings {
        vips: plan.vips.clone(),
        from: plan.from.clone(),
        gue_ports: plan.gue_ports.clone(),
    };
    Ok(Served {
        role: Role::Tun,
        programs: Tunnel::load(pins, &settings)?,
        flows: None,
        interfaces: plan.interfaces.clone(),
        attached: BTreeSet::new(),
        complaint: None,
    })
}

fn attach_toa(place: &Place, settings: &ToaSettings) -> anyhow::Result<()> {
    let cgroup = place.cgroup()?;
    let programs = Toa::load(&place.pins(Role::Toa), settings)?;
    let how = programs.attach_to_sockets(cgroup.as_fd())?;
    tracing::info!("toa: {} the sockets of all programs", described(how));
    match Toa::include_listeners(programs.pins()) {
        Ok(listeners) if listeners.refused == 0 => {
            tracing::info!("toa: {} servers listen already", listeners.set);
        }
        Ok(listeners) => tracing::warn!(
            "toa: {} servers that listen already have to be started again: before Linux 6.12 they cannot be told",
            listeners.refused
        ),
        Err(error) => {
            tracing::warn!("toa: servers that listen already have to be started again: {error}")
        }
    }
    Ok(())
}

fn require_interfaces(names: &[String], links: &[Link]) -> anyhow::Result<()> {
    for name in names {
        if !links.iter().any(|link| link.name == *name) {
            let all: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
            bail!(
                "there is no interface `{name}`; there are: {}",
                all.join(", ")
            );
        }
    }
    Ok(())
}

/// The signals that we know.
struct Signals(SignalFd);

impl Signals {
    fn new() -> nix::Result<Signals> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block()?;
        SignalFd::new(&signals).map(Signals)
    }

    /// The next one, or nothing if none comes for a while.
    fn wait(&self) -> anyhow::Result<Option<Signal>> {
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK_AROUND)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            done => done?,
        };
        let read = self.0.read_signal()?;
        Ok(read.and_then(|info| Signal::try_from(info.ssi_signo.cast_signed()).ok()))
    }
}

/// Whether one of the hooks is an interface's.
pub fn interfaces_of(hooks: &[Hook], links: &[Link]) -> Vec<String> {
    let indices: BTreeSet<u32> = hooks.iter().filter_map(Hook::interface).collect();
    let name = |index: &u32| {
        let link = links.iter().find(|link| link.index == *index);
        link.map_or_else(|| format!("#{index} (gone)"), |link| link.name.clone())
    };
    indices.iter().map(name).collect()
}
