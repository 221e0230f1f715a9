import { startService } from '@fairlead/chassis/run'
import { stockService } from './start.ts'

await startService(stockService)
