//! What a module is made of: a kind of record, its fields, and what can be done with it. The modules are tables of these; they know no pages.

/// One kind of record: the hashes `NAME:1`, `NAME:2` … and the addresses below `/PATH`.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) fields: &'static [Field],
    /// The fields that a record is called by; none: its number. Two are the English and the Chinese one.
    pub(crate) title: &'static [&'static str],
    /// A field whose values divide the list into parts (`NAME:in:VALUE`); empty: none.
    pub(crate) grouped_by: &'static str,
    /// The values of that field that the list offers as tabs.
    pub(crate) groups: &'static [&'static str],
    /// A field whose values differ between records; empty: none.
    pub(crate) unique: &'static str,
    /// The functions of rules/*.lua that write this kind; empty: it is not done.
    pub(crate) create: &'static str,
    pub(crate) change: &'static str,
    pub(crate) remove: &'static str,
    pub(crate) actions: &'static [Action],
    /// Where one goes from a record: address, with `{id}`, and text.
    pub(crate) links: &'static [(&'static str, &'static str)],
}

impl Kind {
    /// A kind that is created, changed and removed without rules of its own.
    pub(crate) const fn new(name: &'static str, path: &'static str, fields: &'static [Field]) -> Self {
        Kind {
            name,
            path,
            fields,
            title: &[],
            grouped_by: "",
            groups: &[],
            unique: "",
            create: "save",
            change: "save",
            remove: "remove",
            actions: &[],
            links: &[],
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// What is done with one record beside changing it: a small form on its page.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    /// The function of rules/*.lua.
    pub(crate) function: &'static str,
    pub(crate) fields: &'static [Field],
    /// The `state` in which it is offered; empty: always.
    pub(crate) state: &'static str,
}

pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Of its text, and a number behind it where there are several alike.
    pub(crate) label: &'static str,
    pub(crate) input: Input,
    pub(crate) is_required: bool,
    pub(crate) is_listed: bool,
    pub(crate) is_searched: bool,
    /// Entered once and not changed later.
    pub(crate) is_fixed: bool,
    /// Never entered: the rules write it.
    pub(crate) is_shown_only: bool,
}

pub(crate) enum Input {
    Line,
    Text,
    Date,
    Time,
    Number(i64, i64),
    /// Days of the week, as `1 2 5`: Monday is 1.
    Days,
    Password,
    /// One of these words, each with its text.
    Choice(&'static [&'static str]),
    /// One of the records in the sorted set `KIND:SET`.
    Of(&'static str, &'static str),
    /// A record of a kind that has too many for a list: its number, or words that find one.
    Search(&'static str),
}

impl Field {
    pub(crate) const fn new(name: &'static str, input: Input) -> Self {
        Field {
            name,
            label: name,
            input,
            is_required: false,
            is_listed: false,
            is_searched: false,
            is_fixed: false,
            is_shown_only: false,
        }
    }

    pub(crate) const fn labelled(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    pub(crate) const fn listed(mut self) -> Self {
        self.is_listed = true;
        self
    }

    pub(crate) const fn searched(mut self) -> Self {
        self.is_searched = true;
        self
    }

    pub(crate) const fn fixed(mut self) -> Self {
        self.is_fixed = true;
        self
    }

    pub(crate) const fn shown_only(mut self) -> Self {
        self.is_shown_only = true;
        self
    }

    /// The kind of record that a value is the number of.
    pub(crate) fn refers_to(&self) -> Option<&'static str> {
        match self.input {
            Input::Of(kind, _) | Input::Search(kind) => Some(kind),
            _ => None,
        }
    }

    /// The value as it is kept, or the text of what is wrong with it. Whether a record exists is asked elsewhere.
    pub(crate) fn check(&self, value: &str) -> Result<String, &'static str> {
        let value = value.trim();
        if value.is_empty() {
            return if self.is_required { Err("wrong_empty") } else { Ok(String::new()) };
        }
        let is_right = match &self.input {
            Input::Line | Input::Search(_) => value.chars().count() <= 200 && !value.contains(char::is_control),
            Input::Text => value.chars().count() <= 4000,
            Input::Password => (10..=200).contains(&value.chars().count()),
            // In the one way that browsers write them: keys are made of these.
            Input::Date => value.parse::<jiff::civil::Date>().is_ok_and(|date| date.to_string() == value),
            Input::Time => {
                value.len() == 5 && value.as_bytes()[2] == b':' && value.parse::<jiff::civil::Time>().is_ok()
            }
            Input::Number(least, most) => value.parse::<i64>().is_ok_and(|number| (*least..=*most).contains(&number)),
            Input::Days => value.split(' ').all(|day| matches!(day, "1" | "2" | "3" | "4" | "5" | "6" | "7")),
            Input::Choice(choices) => choices.contains(&value),
            Input::Of(..) => is_number(value),
        };
        if is_right {
            return Ok(value.to_owned());
        }
        Err(match self.input {
            Input::Password => "wrong_password_length",
            Input::Date => "wrong_date",
            Input::Time => "wrong_time",
            Input::Number(..) => "wrong_number",
            Input::Line | Input::Text | Input::Search(_) => "wrong_length",
            Input::Days | Input::Choice(_) | Input::Of(..) => "wrong_choice",
        })
    }
}

/// True exactly when this can be the number of a record.
pub(crate) fn is_number(value: &str) -> bool {
    !value.is_empty() && value.len() < 16 && value.bytes().all(|byte| byte.is_ascii_digit())
}
