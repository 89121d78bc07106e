//! One list of settings makes a struct, its `Default` and its setters.

/// Makes a `#[non_exhaustive]` struct of settings from one list: each field with its documentation, type and
/// default.
///
/// Each field gets a setter of the same name and documentation. The documentation ends with the default: with
/// the expression, or with the text after `=>`. A second `=>` says what the setter takes, if that is not the
/// type of the field. `FIELDS` has the names of all fields, for tests that must not forget one.
///
/// A program cannot write out such a struct, so a new field or a feature of cargo breaks no program:
///
/// ```compile_fail,E0639
/// use peregrine_protocol::limits::Limits;
///
/// let limits = Limits { body_bytes: 1, ..Limits::default() };
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! settings {
    (
        $(#[$of_struct:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:expr])*
                $(#[cfg($($cfg:tt)*)])?
                pub $field:ident: $type:ty = $default:expr
                    $(=> $text:literal)?
                    $(=> $(<$lifetime:lifetime>)? |$value:ident: $taken:ty| $stored:expr)?;
            )*
        }
    ) => {
        $(#[$of_struct])*
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])*
                #[doc = ""]
                #[doc = $crate::settings!(@default $default $(=> $text)?)]
                $(#[cfg($($cfg)*)])?
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $($(#[cfg($($cfg)*)])? $field: $default,)*
                }
            }
        }

        impl $name {
            /// The names of all fields.
            #[doc(hidden)]
            pub const FIELDS: &'static [&'static str] =
                &[$($(#[cfg($($cfg)*)])? stringify!($field),)*];

            $(
                $(#[cfg($($cfg)*)])?
                $crate::settings! {
                    @setter
                    $(#[doc = $doc])*
                    #[doc = ""]
                    #[doc = $crate::settings!(@default $default $(=> $text)?)]
                    $name $field: $type $(=> $(<$lifetime>)? |$value: $taken| $stored)?
                }
            )*
        }
    };
    (@default $default:expr) => {
        concat!(" Default: `", stringify!($default), "`.")
    };
    (@default $default:expr => $text:literal) => {
        concat!(" Default: ", $text, ".")
    };
    (@setter $(#[$doc:meta])* $name:ident $field:ident: $type:ty) => {
        $crate::settings! { @setter $(#[$doc])* $name $field: $type => |$field: $type| $field }
    };
    (
        @setter $(#[$doc:meta])* $name:ident $field:ident: $type:ty
            => $(<$lifetime:lifetime>)? |$value:ident: $taken:ty| $stored:expr
    ) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field $(<$lifetime>)? (mut self, $value: $taken) -> $name {
            self.$field = $stored;
            self
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "settings are public")]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::String;

    crate::settings! {
        /// Settings.
        #[derive(Debug, PartialEq)]
        pub struct Settings {
            /// Set by its value.
            pub number: u8 = 1 << 2;
            /// Not there.
            #[cfg(any())]
            pub missing: u8 = 0;
            /// Set by a value or by nothing.
            pub option: Option<u8> = None => "`None`" => |option: impl Into<Option<u8>>| option.into();
            /// Set by borrowed text.
            pub text: Option<String> = None
                => <'a> |text: impl Into<Option<&'a str>>| text.into().map(str::to_owned);
        }
    }

    #[test]
    fn one_list_makes_all() {
        assert_eq!(Settings::FIELDS, ["number", "option", "text"]);
        let default = Settings::default();
        let Settings {
            number,
            option,
            text,
        } = &default;
        assert_eq!((number, option, text), (&4, &None, &None));
        let set = Settings::default().number(5).option(6).text("seven");
        assert_eq!(
            (set.number, set.option, set.text.as_deref()),
            (5, Some(6), Some("seven"))
        );
        assert_eq!(
            Settings::default()
                .option(6)
                .option(None)
                .text("a")
                .text(None),
            default
        );
    }
}
