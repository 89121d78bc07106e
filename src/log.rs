//! Events for the `log` crate, the `tracing` crate or both; or nothing at all: without the features the
//! arguments are still type-checked and never evaluated.

/// `event!(Warn, "{n} of them")`, or `event!(Warn, { worker: 3 }, "{} of them", n)`: fields for `tracing`,
/// ` worker=3` behind the text for `log`.
macro_rules! event {
    ($level:ident, { $($name:ident: $value:expr),+ }, $text:literal $(, $argument:expr)*) => {{
        #[cfg(feature = "log")]
        ::log::log!(
            ::log::Level::$level,
            concat!($text, $(" ", stringify!($name), "={}"),+) $(, $argument)* $(, $value)+
        );
        #[cfg(feature = "tracing")]
        ::tracing::event!($crate::log::level!($level), $($name = %$value,)+ $text $(, $argument)*);
        #[cfg(not(any(feature = "log", feature = "tracing")))]
        if false {
            let _ = (format_args!($text $(, $argument)*) $(, format_args!("{}", $value))+);
        }
    }};
    ($level:ident, $($argument:tt)+) => {{
        #[cfg(feature = "log")]
        ::log::log!(::log::Level::$level, $($argument)+);
        #[cfg(feature = "tracing")]
        ::tracing::event!($crate::log::level!($level), $($argument)+);
        #[cfg(not(any(feature = "log", feature = "tracing")))]
        if false {
            let _ = format_args!($($argument)+);
        }
    }};
}
pub(crate) use event;

/// The two crates write the same levels differently.
#[cfg(feature = "tracing")]
macro_rules! level {
    (Error) => {
        ::tracing::Level::ERROR
    };
    (Warn) => {
        ::tracing::Level::WARN
    };
    (Info) => {
        ::tracing::Level::INFO
    };
    (Debug) => {
        ::tracing::Level::DEBUG
    };
}
#[cfg(feature = "tracing")]
pub(crate) use level;
