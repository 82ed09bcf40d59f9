//! Opening everything: programs, packet memory, sockets, and who gets which queue.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lb_bpf::{Rules, Steered, Steering, XdpMode};
use lb_model::{Interface, InterfaceId, Mac};
use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};

use crate::error::{hint, kernel_answer};
use crate::netdev::Device;
use crate::queue::{Queue, fill_size};
use crate::statistics::SocketStatistics;
use crate::tap::Tap;
use crate::umem::Memory;
use crate::wait::Alarm;
use crate::{CopyMode, QueueReport, Waiting, XskConfig, XskError, XskPort, busy_poll};

/// The kernel lets go of a closed AF_XDP socket's queue only some time later.
const BUSY_LIMIT: Duration = Duration::from_secs(3);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Everything that was opened.
pub struct Xsk {
    /// One port for each worker.
    pub ports: Vec<XskPort>,
    /// What stays with the control side.
    pub control: Control,
    /// What was chosen, for each queue of each interface.
    pub queues: Vec<QueueReport>,
    /// What the kernel counts about each of them.
    pub statistics: Vec<SocketStatistics>,
}

/// The steering programs of all interfaces. Dropping it leaves their traffic to the kernel.
#[derive(Debug)]
pub struct Control {
    steerings: Vec<Steering>,
    interfaces: Vec<Interface>,
    tap: Option<Arc<Tap>>,
    /// How much room there is in front of the largest packets.
    room: u8,
    /// Whether any service has asked for some; the ports look for it from then on.
    marked: Arc<AtomicBool>,
}

impl Xsk {
    /// Attaches the steering program to the interfaces and binds a socket to each of their queues. Until rules are
    /// [set](Control::set_rules), all traffic stays with the kernel.
    ///
    /// With `n` workers, queue `q` of each interface belongs to worker `q mod n`.
    pub fn open(config: &XskConfig) -> Result<Xsk, XskError> {
        config.check()?;
        let devices: Vec<Device> = (config.interfaces.iter())
            .map(|name| Device::find(name))
            .collect::<Result<_, _>>()?;
        for device in &devices {
            config.check_mtu(&device.interface)?;
        }
        let workers = worker_count(config, &devices)?;

        let mut steerings = (devices.iter())
            .map(|device| Steering::attach(&device.interface, device.index, device.queues))
            .collect::<Result<Vec<_>, _>>()?;
        let sockets = Sockets::bind(config, &devices, &steerings)?;

        let polls = config.busy_poll && sockets.prefer_busy_poll();
        let mut queues = Vec::new();
        let mut statistics = Vec::new();
        let mut shares: Vec<Vec<Queue>> = (0..workers).map(|_| Vec::new()).collect();
        for (interface, queue, socket) in sockets.bound {
            let worker = queue as usize % workers;
            let steering = &mut steerings[usize::from(interface.0)];
            steering.set_socket(queue, socket.socket())?;
            let report = QueueReport {
                interface: steering.interface().to_owned(),
                queue,
                worker,
                copy: match &sockets.why_not_zero_copy {
                    Some(why) if !socket.is_zero_copy() => CopyMode::Copy {
                        why_not_zero_copy: why.clone(),
                    },
                    _ => CopyMode::ZeroCopy,
                },
                xdp: steering.mode().clone(),
                waiting: match polls {
                    false => Waiting::Sleeps,
                    true if socket.is_zero_copy() => Waiting::PollsDevice,
                    true => Waiting::PollsRings,
                },
                packets_per_wakeup: socket.raise_tx_budget(),
            };
            tracing::info!("{report}");
            let counted = SocketStatistics::of(&report.interface, queue, socket.socket());
            statistics.push(counted.map_err(XskError::Descriptor)?);
            queues.push(report);
            shares[worker].push(socket);
        }
        let sockets_and_programs = (shares.iter().flatten().map(Queue::socket))
            .chain(statistics.iter().map(SocketStatistics::socket))
            .chain(steerings.iter().map(Steering::as_fd));
        let tap = (config.tap.as_deref()).and_then(|name| open_tap(name, sockets_and_programs));
        let room = devices.iter().map(|device| config.room(&device.interface));
        let room = room.min().unwrap_or(0);
        let marked = Arc::new(AtomicBool::new(false));
        let mut memory = sockets.memory;
        let ports = shares
            .into_iter()
            .map(|share| {
                let pool = memory.share(share.len() as u32 * config.frames_per_queue);
                let alarm = (!polls).then(Alarm::new).transpose();
                let alarm = alarm.map_err(XskError::Alarm)?;
                Ok(XskPort::new(
                    share,
                    pool,
                    tap.clone(),
                    Arc::clone(&marked),
                    alarm,
                ))
            })
            .collect::<Result<_, XskError>>()?;
        let interfaces = devices.into_iter().map(|device| device.interface).collect();
        Ok(Xsk {
            ports,
            control: Control {
                steerings,
                interfaces,
                tap,
                room,
                marked,
            },
            queues,
            statistics,
        })
    }
}

impl Control {
    /// Lets exactly what `rules` say come to the ports, on all interfaces. If an interface refuses, all of them keep
    /// the rules they had.
    pub fn set_rules(&mut self, rules: &Rules) -> Result<(), XskError> {
        let mut rules = rules.clone();
        for room in rules.services.values_mut() {
            // Without room headers are put in all the same, at the price of moving the packet.
            *room = if *room <= self.room { *room } else { 0 };
            if *room > 0 {
                self.marked.store(true, Ordering::Relaxed);
            }
        }
        let before: Vec<Rules> = (self.steerings.iter())
            .map(|steering| steering.rules().clone())
            .collect();
        let set = |steering: &mut Steering| steering.set_rules(&rules);
        self.steerings
            .iter_mut()
            .try_for_each(set)
            .inspect_err(|_| {
                for (steering, rules) in self.steerings.iter_mut().zip(&before) {
                    if let Err(error) = steering.set_rules(rules) {
                        tracing::error!("going back to the rules before: {error}");
                    }
                }
            })?;
        Ok(())
    }

    /// Tells the steering program that an interface's Ethernet address has changed.
    pub fn set_mac(&mut self, interface: InterfaceId, mac: Mac) -> Result<(), XskError> {
        let at = usize::from(interface.0);
        self.steerings[at].set_mac(mac)?;
        self.interfaces[at].mac = mac;
        Ok(())
    }

    /// What the steering program did on each interface so far.
    pub fn steered(&self) -> Result<Vec<Steered>, XskError> {
        let steered = self.steerings.iter().map(Steering::steered);
        Ok(steered.collect::<Result<_, _>>()?)
    }

    /// The interfaces as they were when opened.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The device through which packets go back to the kernel, if there is one.
    pub fn tap_name(&self) -> Option<&str> {
        self.tap.as_deref().map(Tap::name)
    }
}

fn worker_count(config: &XskConfig, devices: &[Device]) -> Result<usize, XskError> {
    let fewest = (devices.iter())
        .min_by_key(|device| device.queues)
        .expect("checked: there is an interface");
    let workers = config.workers.unwrap_or(fewest.queues);
    if !(1..=fewest.queues).contains(&workers) {
        return Err(XskError::Workers {
            workers,
            interface: fewest.interface.name.clone(),
            queues: fewest.queues,
        });
    }
    Ok(workers as usize)
}

fn open_tap<'a>(name: &str, others: impl Iterator<Item = BorrowedFd<'a>>) -> Option<Arc<Tap>> {
    match Tap::create(name, others) {
        Ok(tap) => Some(Arc::new(tap)),
        Err(error) => {
            tracing::warn!("no tap device ({error}): packets that are not ours are dropped");
            None
        }
    }
}

/// Sockets on one packet memory.
struct Sockets {
    memory: Memory,
    bound: Vec<(InterfaceId, u32, Queue)>,
    why_not_zero_copy: Option<String>,
}

impl Sockets {
    /// Zero-copy on all queues if all drivers can, else none: sockets that share packet memory are bound alike.
    fn bind(
        config: &XskConfig,
        devices: &[Device],
        steerings: &[Steering],
    ) -> Result<Sockets, XskError> {
        let why_not_zero_copy = if !config.zero_copy {
            "not asked for".to_owned()
        } else if steerings.iter().any(|s| *s.mode() != XdpMode::Native) {
            "needs native XDP on every interface".to_owned()
        } else {
            match Sockets::bind_all(config, devices, true) {
                Err(XskError::Socket {
                    interface,
                    queue,
                    source,
                    ..
                }) if source.kind() != io::ErrorKind::PermissionDenied
                    && source.kind() != io::ErrorKind::ResourceBusy =>
                {
                    let first = devices[0].interface.name == interface && queue == 0;
                    match first {
                        true => source.to_string(),
                        false => format!("{interface} queue {queue}: {source}"),
                    }
                }
                bound => return bound,
            }
        };
        let sockets = Sockets::bind_all(config, devices, false)?;
        Ok(Sockets {
            why_not_zero_copy: Some(why_not_zero_copy),
            ..sockets
        })
    }

    /// Whether workers may poll, which the kernel answers for all sockets alike.
    ///
    /// In copy mode it is not asked: since 6.14 it polls for no such socket (`xsk_bind`), and some before 6.0 do not send
    /// for one that has asked (`xsk_no_wakeup` in `xsk_sendmsg`). There only the rings are polled.
    fn prefer_busy_poll(&self) -> bool {
        let sockets = self.bound.iter().map(|(_, _, socket)| socket);
        let asked = sockets
            .filter(|socket| socket.is_zero_copy())
            .try_for_each(|socket| busy_poll::prefer(socket.fd()));
        if let Err(error) = &asked {
            tracing::warn!(
                "busy_poll: the kernel refuses ({error}): workers sleep while nothing comes, as without it"
            );
        }
        asked.is_ok()
    }

    fn bind_all(
        config: &XskConfig,
        devices: &[Device],
        zero_copy: bool,
    ) -> Result<Sockets, XskError> {
        let queues = devices.iter().map(|device| device.queues).sum();
        let memory = packet_memory(config, queues)?;
        let give_up = Instant::now() + BUSY_LIMIT;
        let mut bound = Vec::new();
        for (position, device) in devices.iter().enumerate() {
            let id = InterfaceId(position as u16);
            let name = device.interface.name.as_str();
            for queue in 0..device.queues {
                let socket = loop {
                    match Queue::bind(&memory.umem, (id, name), queue, config.ring_size, zero_copy)
                    {
                        Err(error)
                            if error.kind() == io::ErrorKind::ResourceBusy
                                && Instant::now() < give_up =>
                        {
                            thread::sleep(BUSY_PAUSE);
                        }
                        socket => break socket,
                    }
                };
                let socket = socket.map_err(|source| XskError::Socket {
                    interface: name.to_owned(),
                    queue,
                    what: "bind an AF_XDP socket",
                    hint: hint(&source),
                    source,
                })?;
                bound.push((id, queue, socket));
            }
        }
        Ok(Sockets {
            memory,
            bound,
            why_not_zero_copy: None,
        })
    }
}

fn packet_memory(config: &XskConfig, queues: u32) -> Result<Memory, XskError> {
    let bytes = config.packet_memory(queues);
    let failed = |source: io::Error| XskError::Memory {
        bytes,
        hint: hint(&source),
        source,
    };
    let invalid = |error: String| failed(io::Error::new(io::ErrorKind::InvalidInput, error));
    let ring = QueueSize::new(config.ring_size).map_err(|error| invalid(error.to_string()))?;
    let fill =
        QueueSize::new(fill_size(config.ring_size)).map_err(|error| invalid(error.to_string()))?;
    let size = FrameSize::new(config.frame_size).map_err(|error| invalid(error.to_string()))?;
    let umem = UmemConfig::builder()
        .frame_size(size)
        .fill_queue_size(fill)
        .comp_queue_size(ring)
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    let frames = u32::try_from(bytes / u64::from(config.frame_size))
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| invalid("more frames than can be numbered".to_owned()))?;
    Memory::new(umem, frames).map_err(|error| failed(kernel_answer(&error)))
}
