-- What the audit says of every label that is still the one it looked at.
select
    evidence.case_id,
    evidence.score,
    evidence.suggested_class,
    evidence.suggested_probability as probability,
    evidence.probabilities,
    evidence.reasons,
from label_evidence as evidence
inner join truth on truth.case_id = evidence.case_id and truth.class_name = evidence.class_name
order by evidence.case_id;
