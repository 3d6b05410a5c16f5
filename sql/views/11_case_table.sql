-- One row per case: subset, reference diagnosis, votes, newest prediction, findings, queue, and a column for each metadata field.
create or replace view case_table as
with newest_split as (
    select arg_max(split_id, created_at) as split_id,
    from splits
),
votes as (
    select case_id, map_from_entries(list_sort(list((class_name, votes)))) as votes,
    from (select case_id, class_name, count(*) as votes from readings where counts group by all)
    group by case_id
),
readers as (
    select
        case_id,
        list(distinct annotator order by annotator) as annotators,
        list(distinct label_id order by label_id) as label_ids,
    from readings
    group by case_id
),
newest_predictions as (
    select predictions.case_id, predictions.run_id, predictions.predicted, predictions.confidence,
    from predictions
    inner join run_names on run_names.run_id = predictions.run_id and run_names.name = 'latest'
    qualify row_number() over (partition by predictions.case_id order by predictions.part) = 1
),
found as (
    select case_id, list(distinct kind order by kind) as findings,
    from (
        select case_id, kind from findings
        union all
        select other_case_id, kind from findings
    )
    where case_id is not null
    group by case_id
),
queued as (
    select *,
    from queue_outcomes
    where queue_id = (select arg_max(queue_id, made_at) from queues)
),
placed as (
    select
        image_id,
        list(distinct project_id order by project_id) as project_ids,
        list(distinct workflow_status order by workflow_status) as workflow_states,
    from projects
    where in_study
    group by image_id
),
described as (
    select image_id, map_from_entries(list_sort(list((name, value)))) as metadata,
    from (
        select image_id, name, array_to_string(list_sort(list_distinct(list(value))), ', ') as value
        from metadata
        group by all
    )
    group by image_id
)
select
    cases.case_id, -- The case.
    cases.patient_id, -- Pseudonym.
    cases.lesion_id, -- Pseudonym, unique within a patient only.
    splits.part, -- Subset of the newest split; NULL = not in it.
    truth.class_name as reference_diagnosis, -- The class by the study's policy; NULL = none.
    classes.malignant, -- Whether that is malignant; NULL = none, or the classes are not in the registry yet.
    truth.resolved_by, -- How the readings became the reference diagnosis, or why there is none.
    truth.readings, -- Readings of the case.
    votes.votes, -- Class and number of readings that say it, of those that count.
    readers.annotators, -- Pseudonyms of who read it.
    newest_predictions.run_id, -- The newest run; NULL = it did not predict the case.
    newest_predictions.predicted, -- The class it predicts.
    newest_predictions.confidence, -- The probability it gives that class.
    newest_predictions.predicted = truth.class_name as is_right, -- Whether that is the reference diagnosis.
    coalesce(found.findings, []) as findings, -- Kinds of findings about the case.
    queued.queue_id, -- The newest queue; NULL = the case is not in it.
    queued.rank as queue_rank, -- Its place in that queue.
    queued.outcome as queue_outcome, -- What became of its label since: untouched, confirmed, changed, rejected, unresolved, cannot_tell.
    cases.image_id, -- Labelbox data row ID.
    readers.label_ids, -- Labelbox label IDs of the readings.
    placed.project_ids, -- Labelbox project IDs of the study's projects that the photograph is in.
    placed.workflow_states, -- Its workflow states there.
    images.width, -- Pixels of the photograph.
    images.height, -- Pixels of the photograph.
    cases.roi_left, -- Pixels as displayed; NULL = whole photograph.
    cases.roi_top, -- Pixels as displayed; NULL = whole photograph.
    cases.roi_width, -- Pixels as displayed; NULL = whole photograph.
    cases.roi_height, -- Pixels as displayed; NULL = whole photograph.
    described.metadata, -- Metadata fields of the photograph as text.
from cases
inner join images on images.image_id = cases.image_id
inner join truth on truth.case_id = cases.case_id
left join classes on classes.class_name = truth.class_name
left join splits
    on splits.case_id = cases.case_id and splits.split_id = (select split_id from newest_split)
left join votes on votes.case_id = cases.case_id
left join readers on readers.case_id = cases.case_id
left join newest_predictions on newest_predictions.case_id = cases.case_id
left join found on found.case_id = cases.case_id
left join queued on queued.case_id = cases.case_id
left join placed on placed.image_id = cases.image_id
left join described on described.image_id = cases.image_id;
