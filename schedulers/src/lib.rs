//! Schedulers that choose as Linux IPVS does.
