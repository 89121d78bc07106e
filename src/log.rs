//! Events for the `log` crate, or nothing at all: without the feature the arguments are still
//! type-checked and never evaluated.

/// `event!(Warn, "{n} of them")`
macro_rules! event {
    ($level:ident, $($argument:tt)+) => {{
        #[cfg(feature = "log")]
        ::log::log!(::log::Level::$level, $($argument)+);
        #[cfg(not(feature = "log"))]
        if false {
            let _ = format_args!($($argument)+);
        }
    }};
}
pub(crate) use event;
