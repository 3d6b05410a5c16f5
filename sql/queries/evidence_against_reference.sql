-- Which reference diagnoses does all the evidence contradict: annotators weighed by their errors (Dawid and Skene), with models as one more reader?
select
    truth.case_id,
    truth.resolved_by,
    truth.class_name as reference_diagnosis,
    1 - evidence.score as its_probability,
    evidence.suggested_class as most_probable,
    evidence.suggested_probability as probability,
    list({'annotator': readings.annotator, 'class_name': readings.class_name} order by readings.annotator, readings.label_id)
        filter (where readings.case_id is not null) as readings,
    evidence.reasons,
from label_evidence as evidence
inner join truth on truth.case_id = evidence.case_id and truth.class_name = evidence.class_name
left join readings on readings.case_id = truth.case_id
where evidence.suggested_probability > 1 - evidence.score
group by all
order by probability desc, truth.case_id;
