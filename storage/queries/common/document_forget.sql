-- Removes documents that no check refers to. All documents and checks are read.
delete from document
where k in (
  select k from document
  except select nip11 from visit
  except select nip66 from visit
)
