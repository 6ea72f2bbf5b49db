//! demo
mod broker;
mod guard;
mod packet;
#[cfg(test)]
mod hold {
    #[test]
    #[ignore]
    fn hold() {
        let port: u16 = std::env::var("HOLD").unwrap_or_default().parse().unwrap_or(0);
        let b = super::broker::Broker::start(super::broker::Listen::At(([127, 0, 0, 1], port).into())).expect("start");
        eprintln!("{}", b.address());
        let _l = b.into_link();
        loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    }
}
