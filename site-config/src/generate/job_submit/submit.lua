-- Slurm ------------------------------------------------------------------------------------------------------------

local function option_text(job_desc)
   local variables = job_desc.spank_job_env
   if not variables then return "" end
   for i = 0, (job_desc.spank_job_env_size or 0) - 1 do
      local variable = variables[i]
      if variable and starts_with(variable, OPTION_VARIABLE) then return variable:sub(#OPTION_VARIABLE + 1) end
   end
   return ""
end

-- `script` with `lines` after its first line, so that the stager finds all directives in one place.
local function with_lines(script, lines)
   local first, rest = script:match("^(#![^\n]*\n?)(.*)$")
   first, rest = first or "", rest or script
   if first ~= "" and first:sub(-1) ~= "\n" then first = first .. "\n" end
   return first .. table.concat(lines) .. rest
end

-- The environment is inherited by jobs submitted from within a job, the directives are not.
local function set_marker(job_desc, value)
   local environment = job_desc.environment
   if environment and (value == "1" or environment[MARKER_VARIABLE]) then environment[MARKER_VARIABLE] = value end
end

local function accept(job_desc, script, option, all)
   local user_hold = job_desc.priority == 0
   if script then
      if #all.option_lines > 0 then job_desc.script = with_lines(script, all.option_lines) end
      job_desc.admin_comment = user_hold and COMMENT_USER_HOLD or COMMENT_WAITING
      set_marker(job_desc, "1")
   else
      job_desc.admin_comment = COMMENT_REQUEST .. option
   end
   -- Also a job that waits for no data: its directories must be there before it starts.
   job_desc.priority = 0
   slurm.log_user("%s", "forebay: the job is held until its data is there; see: forebay job status")
end

local function message_of(refusal)
   if type(refusal) ~= "table" then return "internal error in job_submit.lua: " .. tostring(refusal) end
   local where = refusal.line == 0 and "--forebay: " or string.format("line %d, ", refusal.line)
   return string.format("%scolumn %d: %s; %s (%s)", where, refusal.column, refusal.text, refusal.remedy, refusal.code)
end

function slurm_job_submit(job_desc, part_list, submit_uid)
   local script = job_desc.script
   if script == "" then script = nil end
   local option = option_text(job_desc)
   local fine, all = pcall(read_directives, script or "", option)
   if not fine then
      slurm.log_user("%s", "forebay: " .. message_of(all))
      return slurm.ERROR
   end
   if all.count > 0 then
      accept(job_desc, script, option, all)
   elseif submit_uid ~= 0 and starts_with(job_desc.admin_comment or "", "forebay:") then
      slurm.log_user("%s", "forebay: admin comments that start with 'forebay:' are kept for jobs with directives")
      return slurm.ERROR
   elseif script then
      set_marker(job_desc, "0")
   end
   return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
   return slurm.SUCCESS
end

return slurm.SUCCESS
