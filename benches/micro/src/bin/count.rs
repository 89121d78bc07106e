//! `count` lists the benches; `count NAME TIMES` runs one of them TIMES times, and does nothing else.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut benches = peregrine_micro::benches();
    match &args[..] {
        [name, times] => {
            let bench = benches.iter_mut().find(|bench| bench.full_name() == *name);
            let run = &mut bench.expect("a name from the list").run;
            (0..times.parse().expect("a number")).for_each(|_: u64| run());
        }
        _ => benches
            .iter()
            .for_each(|bench| println!("{}", bench.full_name())),
    }
}
