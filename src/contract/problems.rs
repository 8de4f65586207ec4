//! Problems of request data, collected so that one answer names them all.

use serde::Serialize;

/// More problems than this are counted and not listed: an answer has to stay readable.
const MOST_LISTED: usize = 1000;

/// One problem of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataProblem {
    /// Index of the row in the request, from 0; absent where the problem is the whole request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    pub problem: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// All problems of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataProblems {
    listed: Vec<DataProblem>,
    omitted: usize,
}

impl DataProblems {
    /// One problem of the whole request.
    pub fn of_request(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = DataProblem { row: None, feature: None, problem: problem.into(), hint: Some(hint.into()) };
        Self { listed: vec![problem], omitted: 0 }
    }

    pub fn push(&mut self, problem: impl FnOnce() -> DataProblem) {
        if self.listed.len() < MOST_LISTED {
            self.listed.push(problem());
        } else {
            self.omitted += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    pub fn listed(&self) -> &[DataProblem] {
        &self.listed
    }

    /// How many problems are not listed.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    pub fn total(&self) -> usize {
        self.listed.len() + self.omitted
    }
}
