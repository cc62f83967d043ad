-- For the collector: dependents are found by their own uid too, and the few objects that are being deleted without reading all others.
create index owner_dependent on owner (dependent_uid);
create index object_deleting on object (grp, plural, ns, name) where deleting;
