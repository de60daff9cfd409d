-- Runs job_submit.lua as slurmctld would, over many jobs: lua driver.lua JOB_SUBMIT CASES
-- CASES returns a list of { script = , option = , env = , priority = , comment = , uid = }; one line is printed a job.

local user_messages = {}

slurm = {
   SUCCESS = 0,
   ERROR = -1,
   log_user = function(form, ...) user_messages[#user_messages + 1] = string.format(form, ...) end,
}

local function hex(text)
   if text == nil then return "-" end
   return "=" .. tostring(text):gsub(".", function(c) return string.format("%02x", c:byte()) end)
end

assert(dofile(arg[1]) == slurm.SUCCESS)
assert(slurm_job_modify({}, {}, {}, 1000) == slurm.SUCCESS)

for _, case in ipairs(dofile(arg[2])) do
   user_messages = {}
   local job = { script = case.script, priority = case.priority, admin_comment = case.comment }
   if case.script then job.environment = { FOREBAY_DIRECTIVES = case.env } end
   if case.option then
      job.spank_job_env = {
         [0] = "_SLURM_SPANK_OPTION_forebay_forebay_strict=",
         "_SLURM_SPANK_OPTION_forebay_forebay=" .. case.option,
      }
      job.spank_job_env_size = 2
   end
   local code = slurm_job_submit(job, {}, case.uid or 1000)
   print(table.concat({
      tostring(code),
      hex(table.concat(user_messages, "\n")),
      hex(job.script),
      hex(job.priority),
      hex(job.admin_comment),
      hex(job.environment and job.environment.FOREBAY_DIRECTIVES),
   }, " "))
end
