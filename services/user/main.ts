import { startService } from '@fairlead/chassis/run'
import { userService } from './start.ts'

await startService(userService)
