//! Made-up data: 5,000 patients and all that belongs to them, the same each time. It is entered through the same rules as by people.

use std::collections::HashMap;

use indicatif::{ProgressBar, ProgressStyle};
use redis::{Cmd, pipe};

use crate::admissions::ADMISSION;
use crate::bookings::BOOKING;
use crate::cases::CASE;
use crate::change::Change;
use crate::clock;
use crate::dictionary::WORD;
use crate::doctors::DOCTOR;
use crate::drugs::DRUG;
use crate::fields::Kind;
use crate::notices::NOTICE;
use crate::patients::PATIENT;
use crate::prescriptions::PRESCRIPTION;
use crate::store::{Record, Store, function_call};
use crate::wards::{BED, WARD};
use crate::web::Problem;

const PATIENTS: usize = 5000;
const WARDS: usize = 10;
const BEDS_OF_WARD: usize = 20;
const DOCTORS: usize = 40;
const ADMISSIONS: usize = 150;
const BOOKINGS: usize = 300;
const CASES: usize = 1500;
/// As many as the drug with the smallest stock allows.
const PRESCRIPTIONS: usize = 360;
/// Calls in one pipeline.
const PART: usize = 100;

/// List, English, Chinese.
const WORDS: &[(&str, &str, &str)] = &[
    ("departments", "Internal medicine", "内科"),
    ("departments", "Surgery", "外科"),
    ("departments", "Paediatrics", "儿科"),
    ("departments", "Gynaecology", "妇科"),
    ("departments", "Cardiology", "心内科"),
    ("departments", "Neurology", "神经科"),
    ("departments", "Orthopaedics", "骨科"),
    ("departments", "Emergency", "急诊科"),
    ("diagnoses", "Pneumonia", "肺炎"),
    ("diagnoses", "Appendicitis", "阑尾炎"),
    ("diagnoses", "Fracture of the forearm", "前臂骨折"),
    ("diagnoses", "Hypertension", "高血压"),
    ("diagnoses", "Type 2 diabetes", "2型糖尿病"),
    ("diagnoses", "Migraine", "偏头痛"),
    ("diagnoses", "Asthma", "哮喘"),
    ("diagnoses", "Gastritis", "胃炎"),
    ("drug_forms", "Tablet", "片剂"),
    ("drug_forms", "Capsule", "胶囊"),
    ("drug_forms", "Injection", "注射剂"),
    ("drug_forms", "Syrup", "糖浆"),
    ("blood_groups", "A+", "A+"),
    ("blood_groups", "B+", "B+"),
    ("blood_groups", "AB+", "AB+"),
    ("blood_groups", "O+", "O+"),
    ("blood_groups", "O-", "O-"),
];

const DRUGS: &[&str] = &[
    "Amoxicillin",
    "Ibuprofen",
    "Paracetamol",
    "Metformin",
    "Insulin",
    "Salbutamol",
    "Omeprazole",
    "Amlodipine",
    "Aspirin",
    "Atorvastatin",
    "Cefuroxime",
    "Diclofenac",
    "Enalapril",
    "Furosemide",
    "Heparin",
    "Morphine",
    "Prednisolone",
    "Warfarin",
];

const FAMILIES: &[&str] = &[
    "Adams", "Baker", "Chen", "Davis", "Evans", "Fischer", "Garcia", "Huang", "Ito", "Jones", "Kim", "Li", "Meyer",
    "Nguyen", "Okafor", "Patel", "Quinn", "Rossi", "Smith", "Tanaka", "王", "李", "张", "刘", "陈", "杨",
];

const GIVEN: &[&str] = &[
    "Anna", "Ben", "Clara", "David", "Elena", "Felix", "Grace", "Hugo", "Ines", "Jonas", "Kate", "Liam", "Mia", "Noah",
    "Olga", "Paul", "Rosa", "Sam", "Tara", "Victor",
];

const GIVEN_CHINESE: &[&str] = &["小明", "丽华", "建国", "芳", "伟", "静", "强", "秀英"];

struct Demo {
    calls: Vec<Cmd>,
    titles: HashMap<String, String>,
    numbers: HashMap<&'static str, usize>,
    random: u64,
}

pub(crate) async fn fill(store: &Store) -> Result<(), Problem> {
    if store.ask(&Cmd::exists("patient:all")).await? {
        eprintln!("there are patients already: nothing is made up");
        return Ok(());
    }
    let mut demo = Demo { calls: Vec::new(), titles: HashMap::new(), numbers: HashMap::new(), random: 1 };
    demo.house();
    demo.people();
    demo.events();
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("it names known parts");
    let bar = ProgressBar::new(demo.calls.len() as u64).with_style(style).with_message("made-up data");
    for part in demo.calls.chunks(PART) {
        let mut commands = pipe();
        for call in part {
            commands.add_command(call.clone());
        }
        let answers: Vec<(String, String)> = store.ask_all(&commands).await?;
        if let Some((_, why)) = answers.into_iter().find(|(word, _)| word != "ok") {
            return Err(Problem::Refused(why));
        }
        bar.inc(part.len() as u64);
    }
    bar.finish();
    Ok(())
}

impl Demo {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as usize % limit
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// The number of a word of this list.
    fn word(&mut self, list: &str) -> String {
        let all: Vec<usize> = (0..WORDS.len()).filter(|at| WORDS[*at].0 == list).collect();
        (all[self.below(all.len())] + 1).to_string()
    }

    fn number(&mut self, limit: usize) -> String {
        (self.below(limit) + 1).to_string()
    }

    /// Enters a record. In an empty store they get the numbers 1, 2, 3 …
    fn enter(&mut self, kind: &'static Kind, title: &str, fields: &[(&str, String)]) -> usize {
        let number = self.numbers.entry(kind.name).and_modify(|number| *number += 1).or_insert(1);
        let number = *number;
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let entry = format!("{}{number}", kind.name);
        let change = Change::made_up(kind, None, fields, &self.titles, entry);
        self.calls.push(function_call(kind.create, &change.call("demo")));
        self.titles.insert(format!("{}:{number}", kind.name), title.to_owned());
        number
    }

    fn house(&mut self) {
        for (list, english, chinese) in WORDS {
            let fields = [("list", *list), ("english", *english), ("chinese", *chinese)]
                .map(|(name, value)| (name, value.to_owned()));
            self.enter(&WORD, &format!("{english} {chinese}"), &fields);
        }
        for ward in 1..=WARDS {
            let name = format!("Ward {ward}");
            let department = self.word("departments");
            let fields = [("name", name.clone()), ("department", department), ("floor", (ward / 3).to_string())];
            self.enter(&WARD, &name, &fields);
            for bed in 1..=BEDS_OF_WARD {
                let name = format!("{ward:02}-{bed:02}");
                self.enter(&BED, &name, &[("name", name.clone()), ("ward", ward.to_string())]);
            }
        }
        for name in DRUGS {
            let stock = self.below(2000) + 20;
            let fields: Vec<(&str, String)> = vec![
                ("name", (*name).to_owned()),
                ("form", self.word("drug_forms")),
                ("strength", format!("{} mg", (self.below(20) + 1) * 25)),
                ("stock_min", "250".to_owned()),
            ];
            let number = self.enter(&DRUG, name, &fields);
            let before = Record {
                id: number.to_string(),
                fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            };
            let amount = HashMap::from([("amount".to_owned(), stock.to_string())]);
            let delivery = Change::made_up(&DRUG, Some(before), amount, &self.titles, format!("delivery{number}"));
            self.calls.push(function_call("stock", &delivery.call("demo")));
        }
    }

    fn name(&mut self) -> String {
        let family = self.one_of(FAMILIES);
        if family.is_ascii() {
            format!("{} {family}", self.one_of(GIVEN))
        } else {
            format!("{family}{}", self.one_of(GIVEN_CHINESE))
        }
    }

    fn people(&mut self) {
        for _ in 0..DOCTORS {
            let name = self.name();
            let fields = [
                ("name", name.clone()),
                ("department", self.word("departments")),
                ("phone", format!("555-{:04}", self.below(10_000))),
                ("days", "1 2 3 4 5 6 7".to_owned()),
                ("from", format!("{:02}:00", 8 + self.below(2))),
                ("to", format!("{:02}:00", 15 + self.below(3))),
                ("slot_minutes", self.one_of(&["15", "20", "30"]).to_owned()),
            ];
            self.enter(&DOCTOR, &name, &fields);
        }
        for number in 1..=PATIENTS {
            let name = self.name();
            let fields = [
                ("name", name.clone()),
                ("identity", format!("ID{:07}", 1_000_000 + number)),
                ("born", format!("{}-{:02}-{:02}", 1935 + self.below(85), self.below(12) + 1, self.below(28) + 1)),
                ("sex", self.one_of(&["female", "male"]).to_owned()),
                ("phone", format!("555-{:06}", self.below(1_000_000))),
                ("address", format!("{} {} Street", self.below(200) + 1, self.one_of(FAMILIES))),
                ("blood_group", self.word("blood_groups")),
            ];
            self.enter(&PATIENT, &name, &fields);
        }
    }

    fn events(&mut self) {
        let today = clock::today();
        for number in 1..=ADMISSIONS {
            let fields = [
                ("patient", (number * 7).to_string()),
                ("bed", number.to_string()),
                ("doctor", self.number(DOCTORS)),
                ("diagnosis", self.word("diagnoses")),
                ("admitted", clock::later(&today, -(self.below(20) as i64))),
            ];
            self.enter(&ADMISSION, "", &fields);
        }
        for number in 0..BOOKINGS {
            let fields = [
                ("patient", self.number(PATIENTS)),
                ("doctor", (number % DOCTORS + 1).to_string()),
                ("date", clock::later(&today, (number / DOCTORS / 4) as i64)),
                ("time", format!("{:02}:00", 10 + number / DOCTORS % 4)),
                ("reason", "Check-up".to_owned()),
            ];
            self.enter(&BOOKING, "", &fields);
        }
        for _ in 0..CASES {
            let fields = [
                ("patient", self.number(PATIENTS)),
                ("doctor", self.number(DOCTORS)),
                ("date", clock::later(&today, -(self.below(900) as i64))),
                ("diagnosis", self.word("diagnoses")),
                ("complaint", "Made up for the demonstration.".to_owned()),
                ("treatment", "Rest, and to come again in a week.".to_owned()),
            ];
            self.enter(&CASE, "", &fields);
        }
        for number in 0..PRESCRIPTIONS {
            let fields = [
                ("patient", self.number(PATIENTS)),
                ("doctor", self.number(DOCTORS)),
                ("date", today.clone()),
                ("drug1", (number % DRUGS.len() + 1).to_string()),
                ("amount1", "1".to_owned()),
                ("dose1", "1-0-1".to_owned()),
            ];
            self.enter(&PRESCRIPTION, "", &fields);
        }
        let notice = [
            ("title", "Fire drill on Friday".to_owned()),
            ("text", "At 10:00. Patients stay in their rooms.".to_owned()),
            ("until", clock::later(&today, 7)),
        ];
        self.enter(&NOTICE, "", &notice);
    }
}
