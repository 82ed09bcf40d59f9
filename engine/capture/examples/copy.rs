//! Copies a capture of either format to pcapng and counts: `copy IN OUT`.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

use lb_capture::{Reader, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: copy IN OUT".into());
    };
    let mut reader = Reader::new(File::open(from)?)?;
    let mut writer = Writer::new(BufWriter::new(File::create(to)?))?;
    let (mut packets, mut snapped, mut described) = (0_u64, 0_u64, 0);
    while let Some((record, interfaces)) = reader.read_record()? {
        for interface in &interfaces[described..] {
            writer.add_interface(interface)?;
        }
        described = interfaces.len();
        packets += 1;
        snapped += u64::from(record.is_snapped());
        writer.write(&record, None)?;
    }
    writer.flush()?;
    println!("{packets} packets, {snapped} of them snapped");
    Ok(())
}
