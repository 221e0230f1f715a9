alter table items add column title text not null default '';
