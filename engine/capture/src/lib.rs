//! Packet captures: reads classic pcap and pcapng, writes pcapng.
//!
//! [`Reader`] streams [`Record`]s out of any [`Read`](std::io::Read) without allocating per packet; [`Writer`] writes
//! the same bytes for the same records, always, so that two replays can be compared byte by byte. Neither trusts a
//! length field of the file: a broken capture ends in a [`CaptureError`] that names the packet and the byte.
//!
//! ```
//! use lb_capture::{Interface, Reader, Record, Writer};
//! use lb_model::Time;
//!
//! let mut writer = Writer::new(Vec::new())?;
//! let eth0 = writer.add_interface(&Interface::ethernet("eth0"))?;
//! writer.write(&Record::whole(eth0, Time::from_nanos(5), &[0; 60]), None)?;
//!
//! let file = writer.into_inner();
//! let mut reader = Reader::new(&file[..])?;
//! while let Some((record, interfaces)) = reader.read_record()? {
//!     assert_eq!(interfaces[record.interface].name.as_deref(), Some("eth0"));
//!     assert_eq!(record.bytes.len(), 60);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod byte_order;
mod classic;
mod error;
mod input;
mod pcapng;
mod reader;
mod record;
mod timestamp;
mod writer;

pub use error::{CaptureError, Problem};
pub use reader::Reader;
pub use record::{Interface, Record};
pub use writer::Writer;
